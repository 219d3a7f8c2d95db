"""How fast peers average and how many bytes they send, beside others that do the same in the same run."""
