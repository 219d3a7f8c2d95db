"""Moshpit knowledge distillation (MKD): a peer learns from its group-mates' models on its own data."""
