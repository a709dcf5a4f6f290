"""The agent: its tools, its worker process and the AgentCore runtime around it."""
