"""What must hold in every run. Checkers see facts and, at their instants, the peers themselves."""
