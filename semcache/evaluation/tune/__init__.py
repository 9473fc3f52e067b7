"""What labels say about the threshold: comparing pairs, judging them at every setting, choosing one."""
