"""The commands: each reads its options, calls, and shows.

They import what they call when they are called, so that `--help` does not wait for boto3.
"""
