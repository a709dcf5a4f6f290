"""Vigil runs long AI-agent jobs on AWS as sessions that always end."""
