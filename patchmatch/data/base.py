"""What every data module shares."""

from pytorch_lightning import LightningDataModule


class MatchingData(LightningDataModule):
    """Base of every data module; it makes and reads nothing before ``setup``."""
