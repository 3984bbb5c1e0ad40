"""The commands, one module each.

They import what brings boto3 along when they run, so that `--help` does not wait for it.
"""
