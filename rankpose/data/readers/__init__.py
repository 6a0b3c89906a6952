"""From the folders of data sets, as users download them, to records: a file a data set."""
