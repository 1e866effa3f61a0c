"""The site: what mkdocs is told, and what it needs beside its own."""
