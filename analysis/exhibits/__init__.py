"""The figures and tables of the paper, and our own: what each shows and says.

An exhibit is a figure, a table or both with a caption, made from the experiment of the paper or
from what has the same axes; `catalogue.exhibits` yields them all. The modules are named after what
is shown: the main grid, the ablation of SGD, variants of the network, sensitivity, and what goes
beyond the paper.
"""
