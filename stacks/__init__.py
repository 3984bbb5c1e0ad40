"""What is provisioned: the CDK stacks, their settings, and the packaging of the functions."""
