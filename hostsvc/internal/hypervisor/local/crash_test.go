package local

func crashChild() bool { return false }
