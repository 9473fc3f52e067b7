"""Measuring a server: labelled cases against what it serves, and streams of prompts played through it."""
