"""What a setting would serve, on labelled data and on streams: formats, playing through a real server, scores."""
