"""Stateful visual encoder, persistent visual memory, and how they enter a host model."""
