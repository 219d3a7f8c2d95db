"""The numbers: flat vectors with their schema, weighted means, codecs, sketches. Tensors in, tensors out."""
