from fltac.cli import main

main()
