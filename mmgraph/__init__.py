"""A graph-centric multimodal toolkit."""
