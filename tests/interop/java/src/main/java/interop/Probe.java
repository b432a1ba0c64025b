package interop;
public class Probe { }
