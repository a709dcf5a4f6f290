"""The CDK application: one stack, the same on AWS and on a laptop."""
