"""What the three functions share: the job's life, the ReportFlow client, the archive, the queues.

Imported by `functions/`, imports nothing of the repository. Whatever is outside (table, bucket,
queues, service, clock) is passed in, so that the modules run without AWS.
"""
