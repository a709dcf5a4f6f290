"""``python -m vigil.agent``: serve as AgentCore expects. A module of its own, which no worker imports again."""

from vigil.agent.runtime import main

if __name__ == "__main__":
    main()
