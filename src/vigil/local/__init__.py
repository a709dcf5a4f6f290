"""The whole of Vigil on one machine: an embedded AWS, deployed from the same template."""

AGENT_LOG = "agent.log"
"""The file in a local stack's folder that the agent's processes log to."""
