"""Computes what functions use and cost, and what a finding is. Touches nothing."""
