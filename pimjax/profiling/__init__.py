"""How fast this machine runs pimjax, beside a plain PyTorch composition of the same parts."""
