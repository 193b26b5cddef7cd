"""Generated radiographs and scenes with known findings, and the sample archives made of them."""
