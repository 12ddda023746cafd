"""The sections of a report, each as records that know nothing of the template."""
