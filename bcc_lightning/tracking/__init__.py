"""Where runs are filed: MLflow behind one small interface, and the folder of a run on this machine."""
