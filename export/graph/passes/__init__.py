"""One rewrite of the graph per file, each a function from Graph to Graph."""
