"""Ingests beside the service: by schedule, by change of files, by job."""
