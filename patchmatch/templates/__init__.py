"""Template matching by QATM on deep features, and the training of such features."""
