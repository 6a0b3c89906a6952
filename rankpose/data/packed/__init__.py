"""The one packed file of a data set: how it is read, and how it is written."""
