"""Where arrays become tensors and findings become targets: samples, prompts, loops, prediction."""
