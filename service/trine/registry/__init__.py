"""What is on disk: the architectures that can be exported, and the repository folder with its versions and aliases."""
