"""What tests share: servers, real and scripted, keyrings, terminals, and ways to run the command."""
