"""The whole of Vigil on one machine: an embedded AWS, deployed from the same template."""
