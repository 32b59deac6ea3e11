package daemon

func runChild() {}
