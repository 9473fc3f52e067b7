"""Reads records from files as users have them: tables, JSON, plain lines, and the exports of other programs."""
