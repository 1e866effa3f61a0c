"""Plain C of a file that others made: read, proven against TFLite Micro, written with all that firmware needs.

In: the bytes of any integer .tflite file, and inputs. Out: a :class:`~export.compiled_file.compiled.CompiledFile`.
"""
