"""What an account overpays for AWS Lambda: a deterministic analysis that knows nothing of agents."""
