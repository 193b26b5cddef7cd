"""GeoTIFF archives: scenes, their footprints, times and bands."""
