"""Reads AWS: which functions there are, what they used, and what that costs. Whatever cannot be read is a gap."""
