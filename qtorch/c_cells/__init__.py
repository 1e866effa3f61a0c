"""Parts of rows' C cells that several ops share; training never opens them."""
