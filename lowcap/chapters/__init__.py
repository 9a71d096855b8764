"""The experiments of each chapter, in a folder named by its notebook's word."""
