"""An agent with its own tool and its own IAM actions: it reports how many messages wait in each SQS queue."""

READ_ACTIONS = ("sqs:ListQueues", "sqs:GetQueueAttributes")
"""IAM actions that the agent's role gets, on all resources, when this package lies in src/."""
