"""Records as a person reads them: pages made of styled text, and the two media that show them."""
