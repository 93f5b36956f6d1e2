"""The figures and tables of the paper, and our own: what each shows and says."""
