"""What the three functions share: the job's life, the ReportFlow client, the archive, the queues.

Imported by `functions/`, imports nothing of the repository. The domain modules take their
surroundings (table, bucket, queues, service, clock) as `Protocol`s and run without AWS.
"""
