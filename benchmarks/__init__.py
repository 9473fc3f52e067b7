"""What takes time or makes a claim about speed: each module is a command."""
