"""Plays workloads and labelled pairs through a real server, and summarises the answers."""
