"""Renders the artifacts: the report, its page and charts, and findings.json. Code writes every number."""
